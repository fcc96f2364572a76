// Idle connections to upstreams, by origin, bounded in number and in time.

import { connect, type Connection, type Origin } from './connection.ts'
import type { Egress } from './egress.ts'
import type { SocketHandles } from './handles.ts'

const MAX_IDLE_CONNECTIONS = 256
const SWEEP_EVERY_MS = 1500

export interface ConnectionPool {
  /** An idle connection, or a new one that is still connecting. */
  take(origin: Origin, now: number): Connection
  giveBack(connection: Connection): void
  /** For new connections; existing ones are closed once they are idle. */
  use(handles: SocketHandles): void
  /** The same after a change of the egress. */
  renew(): void
  close(): void
}

export function connections(egress: Egress, first: SocketHandles): ConnectionPool {
  let handles = first
  const idle = new Map<string, Connection[]>()
  let count = 0
  let closed = false

  const sweep = (): void => {
    const now = performance.now()
    for (const [name, stack] of idle) {
      const stale = stack.findIndex((each) => each.idleUntil > now)
      const old = stack.splice(0, stale === -1 ? stack.length : stale)
      count -= old.length
      for (const each of old) each.destroy()
      if (stack.length === 0) idle.delete(name)
    }
  }
  const forget = (): void => {
    for (const stack of idle.values()) for (const each of stack) each.destroy()
    idle.clear()
    count = 0
  }
  const sweeping = setInterval(sweep, SWEEP_EVERY_MS)
  sweeping.unref()

  return {
    take(origin, now) {
      const { name } = origin
      const stack = idle.get(name)
      // The server is least likely to have closed the most recently used one.
      for (let last = stack?.pop(); last; last = stack?.pop()) {
        count -= 1
        if (last.usable && last.idleUntil > now) return last
        last.destroy()
      }
      return connect(origin, egress, handles)
    },
    giveBack(connection) {
      if (!connection.release()) return
      const isOutdated = connection.handles !== handles
      if (closed || isOutdated || count >= MAX_IDLE_CONNECTIONS) return connection.destroy()
      const stack = idle.get(connection.origin)
      if (stack) stack.push(connection)
      else idle.set(connection.origin, [connection])
      count += 1
    },
    use(found) {
      handles = found
      forget()
    },
    renew() {
      // A new object marks earlier connections, by their handles.
      handles = { ...handles }
      forget()
    },
    close() {
      closed = true
      clearInterval(sweeping)
      forget()
    },
  }
}
