/** An analyticsService for the micro-frontends of Open edX: frontend-platform and frontend-base take it by configuration. */

import tracker from "./module.js";

interface HttpClient {
  post(url: string, body: string, options: object): Promise<unknown>;
}
interface Service {
  httpClient: HttpClient;
  loggingService: { logError(error: unknown): void };
  config: Record<string, unknown>;
}

/** Keys in snake case, however deep, as the tracking log has them. */
function snake(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snake);
  if (!value || typeof value !== "object") return value;
  const words = (key: string) =>
    key
      .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
      .replace(/([A-Z])([A-Z][a-z])/g, "$1_$2")
      .replace(/[\s.-]+/g, "_")
      .toLowerCase();
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [words(key), snake(inner)]));
}

export class DispatcherAnalyticsService {
  private http: HttpClient;
  private logging: Service["loggingService"];
  private config: Record<string, unknown>;
  hasIdentifyBeenCalled = false;

  /**
   * `config` is the MFE's own, with TRACKER_KEY and, where they differ, TRACKER_URL (default LMS_BASE_URL/v1/events)
   * and TRACKER_TRANSPORT "httpClient": events are then posted to LMS_BASE_URL/event as before, with the user's session.
   */
  constructor({ httpClient, loggingService, config }: Service) {
    this.http = httpClient;
    this.logging = loggingService;
    this.config = config;
    const { TRACKER_KEY: key, TRACKER_URL: url, LMS_BASE_URL: lms } = config as Record<string, string>;
    if (key) tracker.init({ key, url: url || `${lms || ""}/v1/events`, credentials: "include" });
  }

  /** To the tracking log. Resolves when the event is safe in the page's queue, or was posted. */
  sendTrackingLogEvent(eventName: string, properties: unknown = {}): Promise<unknown> {
    const data = snake(properties);
    if (this.config.TRACKER_TRANSPORT !== "httpClient") return Promise.resolve(tracker.emit(eventName, data));
    const form = new URLSearchParams({ event_type: eventName, event: JSON.stringify(data), page: location.href });
    return this.http
      .post(`${this.config.LMS_BASE_URL}/event`, form.toString(), { headers: { "Content-Type": "application/x-www-form-urlencoded" } })
      .catch((error) => this.logging.logError(error));
  }

  /** Throws an Error without a user's id. */
  identifyAuthenticatedUser(userId: string | number, traits?: object): void {
    if (!userId) throw new Error("UserId is required for identifyAuthenticatedUser.");
    tracker.identify("" + userId, traits || {});
    this.hasIdentifyBeenCalled = true;
  }

  /** Never waits for another vendor's script. */
  identifyAnonymousUser(traits?: object): Promise<void> {
    tracker.reset();
    tracker.identify(traits || {});
    this.hasIdentifyBeenCalled = true;
    return Promise.resolve();
  }

  /** To Segment only. */
  sendTrackEvent(eventName: string, properties?: object): void {
    this.checkIdentifyCalled();
    tracker.track(eventName, properties);
  }

  /** To Segment only. */
  sendPageEvent(category?: string, name?: string, properties?: object): void {
    this.checkIdentifyCalled();
    tracker.page(category, name, properties);
  }

  checkIdentifyCalled(): void {
    if (!this.hasIdentifyBeenCalled) this.logging.logError("Identify must be called before other tracking events.");
  }
}

export default DispatcherAnalyticsService;
