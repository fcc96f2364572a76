// How long tests wait for what should come soon. A machine that compiles something else beside them
// may be ten times slower than a quiet one: no test fails by that, and what hangs still ends.

export const PATIENCE_MS = 100_000

/** Fails only where `promise` hangs. Where the time itself is asked about, a test measures it. */
export async function soon<T>(promise: Promise<T>, what: string): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`${what}: never came`)), PATIENCE_MS)
  try {
    return await Promise.race([promise, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
