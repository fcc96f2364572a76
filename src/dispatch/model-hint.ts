// Which model a body that nobody has to read seems to name: for the circuit breaker, which keeps the
// trouble of one model from the others. A hint decides nothing else, and a wrong one harms only the
// requests that carry it: so it is looked for in a body's two ends, where the SDKs write it.

const END_BYTES = 256
/** What a name may hold; a text that was said to a model rarely is one. */
const MEMBER = /"model"\s{0,4}:\s{0,4}"([\w.:/@-]{1,96})"/

export function modelHint(body: Uint8Array): string | undefined {
  const { buffer, byteOffset, byteLength } = body
  const bytes = Buffer.from(buffer, byteOffset, byteLength)
  const named = MEMBER.exec(bytes.toString('latin1', 0, END_BYTES))?.[1]
  if (named !== undefined || byteLength <= END_BYTES) return named
  return MEMBER.exec(bytes.toString('latin1', byteLength - END_BYTES))?.[1]
}
