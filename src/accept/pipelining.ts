// One connection's share of a turn of the event loop. Bun parses everything that it has read from a
// connection, up to 512 KiB, and answers each request in it before any other connection has its
// turn: a stranger who pipelines kept every other client waiting for seconds. A client that waits
// for its answers never has two requests in one turn, so the bound costs it nothing.

/**
 * Pipelined requests follow each other, so it is enough to ask every eighth whose it is, which takes
 * 0.7 µs. Two of the same connection in one turn end it: after sixteen answers at most.
 */
const SAMPLED = 8

export interface Connections {
  requestIP(request: Request): { readonly address: string; readonly port: number } | null
}

/**
 * Whether the answer to this request is its connection's last (RFC 9112 §9.6): what follows on it is
 * not looked at, and an honest client sends it again on a new one (§9.3.2).
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
    // A connection that is gone has no address; nobody is left to answer on it.
    if (!peer) return true
    if (seen?.port === peer.port && seen.address === peer.address) return true
    if (!seen) setImmediate(nextTurn)
    seen = peer
    return false
  }
}
