// Bounds how many requests of one connection are answered in one turn of the event loop. Bun parses all
// that it has read from a connection, up to 512 KiB, and answers every request in it before it turns to
// another connection: a client that pipelines could keep all others waiting for seconds. A client that
// waits for its responses never has two requests in one turn.

/**
 * Pipelined requests come in a row, so only every eighth is asked for its connection, which takes 0.7 µs.
 * The second one of the same connection in a turn ends it: after sixteen responses at most.
 */
const SAMPLED = 8

export interface Connections {
  requestIP(request: Request): { readonly address: string; readonly port: number } | null
}

/**
 * Whether the response to this request is the last of its connection (RFC 9112 §9.6). What follows on it is
 * ignored; a client sends it again on a new connection (§9.3.2).
 */
export type IsLast = (request: Request, server: Connections | null) => boolean

export function pipelining(): IsLast {
  let requests = 0
  let seen: { address: string; port: number } | undefined
  const nextTurn = (): void => {
    seen = undefined
  }
  return (request, server) => {
    requests += 1
    if (requests % SAMPLED !== 0 || !server) return false
    const peer = server.requestIP(request)
    // A closed connection has no address.
    if (!peer) return true
    if (seen?.port === peer.port && seen.address === peer.address) return true
    if (!seen) setImmediate(nextTurn)
    seen = peer
    return false
  }
}
