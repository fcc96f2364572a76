// How much of a test `bun run test` does, and how much `just test-long` and `just attack`.

export const LONG = (process.env['POSTERN_LONG'] ?? '') !== ''

/** `usual` keeps the suite under two minutes; the issue or the attack list asks for `inFull`. */
export const howMany = (usual: number, inFull: number): number => (LONG ? inFull : usual)
