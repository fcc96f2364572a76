// How a request ended. `refused` means our own response; the others are ends of relayed requests.

export type End = 'complete' | 'refused' | 'client_gone' | 'upstream_error' | 'timeout' | 'drained'
