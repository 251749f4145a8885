/** An analyticsService for the micro-frontends of Open edX: frontend-platform and frontend-base take it by configuration. */
interface HttpClient {
    post(url: string, body: string, options: object): Promise<unknown>;
}
interface Service {
    httpClient: HttpClient;
    loggingService: {
        logError(error: unknown): void;
    };
    config: Record<string, unknown>;
}
export declare class DispatcherAnalyticsService {
    private http;
    private logging;
    /** Where the platform itself takes tracking log events. */
    private eventUrl;
    private hasTracker;
    private posts;
    hasIdentifyBeenCalled: boolean;
    /**
     * `config` is the site's own, with TRACKER_KEY and, where they differ, TRACKER_URL (default LMS_BASE_URL/v1/events)
     * and TRACKER_TRANSPORT "httpClient": events are then posted to LMS_BASE_URL/event as before, with the user's session.
     * TRACKER_HANDOVER "poll" has handover.js ask for as long as the page is open. In frontend-base they are trackerKey,
     * trackerUrl, trackerTransport, trackerHandover and lmsBaseUrl. Without a key all events are
     * posted so, and there is no Segment, as without its own key before.
     */
    constructor({ httpClient, loggingService, config }: Service);
    /** To the tracking log. Resolves when the event is safe in the page's queue, or was posted. Never rejects. */
    sendTrackingLogEvent(eventName: string, properties?: unknown): Promise<unknown>;
    /** Throws an Error without a user's id. */
    identifyAuthenticatedUser(userId: string | number, traits?: object): void;
    /** Forgets who was here before, if anybody was. Segment hears of it only with traits. Never waits for another vendor's script. */
    identifyAnonymousUser(traits?: object): Promise<void>;
    /** To Segment only. */
    sendTrackEvent(eventName: string, properties?: object): void;
    /** To Segment only. With one text, it is the name. */
    sendPageEvent(category?: string, name?: string, properties?: object): void;
    checkIdentifyCalled(): void;
}
export default DispatcherAnalyticsService;
