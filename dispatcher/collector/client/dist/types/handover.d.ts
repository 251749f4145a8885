/** handover.js: takes the events that only a page can hand to a vendor's script, makes the calls, and says so. */
export {};
