// How a request ended. `refused` is our own answer; the others are those of a relayed one.

export type End = 'complete' | 'refused' | 'client_gone' | 'upstream_error' | 'timeout' | 'drained'
