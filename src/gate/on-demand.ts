// What few gates need and the others never load. It is one file because each that is imported on demand
// takes the code which it shares with the rest apart, and every gate loads the pieces: seven for the
// realtime sessions.

export { realtime } from './realtime.ts'
export { signingIn } from './signing-in.ts'
