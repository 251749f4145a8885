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

/** A word of a key: capitals, a word, digits with or without the end of an ordinal, or letters of other alphabets. */
const WORD = /\d*(?:1st|2nd|3rd|(?![123])\dth)(?![a-z\d])|\d*(?:1ST|2ND|3RD|(?![123])\dTH)(?![A-Z\d])|[A-Z]+(?![a-z\u00df-\u1fff])|[A-Z]?[a-z\u00df-\u1fff\u2c00-\uffff]+|\d+|[A-Z]+/g;

/** Keys in snake case, however deep, as the tracking log has them: those that lodash's snakeCase makes. */
function snake(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snake);
  if (!value || typeof value !== "object" || typeof (value as Date).toJSON === "function") return value;
  const key = (name: string) =>
    (name.normalize("NFD").replace(/['\u2019\u0300-\u036f]/g, "").normalize().match(WORD) || []).join("_").toLowerCase();
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [key(name), snake(inner)]));
}

export class DispatcherAnalyticsService {
  private http: HttpClient;
  private logging: Service["loggingService"];
  /** Where the platform itself takes tracking log events. */
  private eventUrl: string;
  private hasTracker: boolean;
  private posts: boolean;
  hasIdentifyBeenCalled = false;

  /**
   * `config` is the site's own, with TRACKER_KEY and, where they differ, TRACKER_URL (default LMS_BASE_URL/v1/events)
   * and TRACKER_TRANSPORT "httpClient": events are then posted to LMS_BASE_URL/event as before, with the user's session.
   * TRACKER_HANDOVER "poll" has handover.js ask for as long as the page is open. In frontend-base they are trackerKey,
   * trackerUrl, trackerTransport, trackerHandover and lmsBaseUrl. Without a key all events are
   * posted so, and there is no Segment, as without its own key before.
   */
  constructor({ httpClient, loggingService, config }: Service) {
    this.http = httpClient;
    this.logging = loggingService;
    const [lms, key, url, transport, handover] = ["LMS_BASE_URL", "TRACKER_KEY", "TRACKER_URL", "TRACKER_TRANSPORT", "TRACKER_HANDOVER"].map((name) => {
      const camel = name.toLowerCase().replace(/_./g, (text) => text[1].toUpperCase());
      return (config[name] ?? config[camel] ?? "") as string;
    });
    this.eventUrl = `${lms}/event`;
    this.hasTracker = !!key;
    this.posts = !key || transport === "httpClient";
    if (key) tracker.init({ key, url: url || `${lms}/v1/events`, credentials: "include", handover: handover as "poll" });
  }

  /** To the tracking log. Resolves when the event is safe in the page's queue, or was posted. Never rejects. */
  async sendTrackingLogEvent(eventName: string, properties?: unknown): Promise<unknown> {
    try {
      const data = snake(properties);
      if (!this.posts) return tracker.emit(eventName, data);
      const form = new URLSearchParams({ event_type: eventName, event: JSON.stringify(data ?? {}), page: location.href });
      const headers = { "Content-Type": "application/x-www-form-urlencoded" };
      return await this.http.post(this.eventUrl, form.toString(), { headers });
    } catch (error) {
      this.logging.logError(error);
    }
  }

  /** Throws an Error without a user's id. */
  identifyAuthenticatedUser(userId: string | number, traits?: object): void {
    if (!userId) throw new Error("UserId is required for identifyAuthenticatedUser.");
    if (!this.hasTracker) return;
    tracker.identify("" + userId, traits || {});
    this.hasIdentifyBeenCalled = true;
  }

  /** Forgets who was here before, if anybody was. Segment hears of it only with traits. Never waits for another vendor's script. */
  async identifyAnonymousUser(traits?: object): Promise<void> {
    if (!this.hasTracker) return;
    // Not without need: a new anonymous id would make a new person of each page.
    if (tracker.user().userId) tracker.reset();
    if (traits && Object.keys(traits).length) tracker.identify(traits);
    this.hasIdentifyBeenCalled = true;
  }

  /** To Segment only. */
  sendTrackEvent(eventName: string, properties?: object): void {
    if (!this.hasTracker) return;
    this.checkIdentifyCalled();
    tracker.track(eventName, properties);
  }

  /** To Segment only. With one text, it is the name. */
  sendPageEvent(category?: string, name?: string, properties?: object): void {
    if (!this.hasTracker) return;
    this.checkIdentifyCalled();
    tracker.page(category, name, properties);
  }

  checkIdentifyCalled(): void {
    if (!this.hasIdentifyBeenCalled) this.logging.logError("Identify must be called before other tracking events.");
  }
}

export default DispatcherAnalyticsService;
