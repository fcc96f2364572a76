// For writers that go as fast as they are read, and no faster.

import type { Socket } from 'node:net'

/** Until there is room for more, or nobody any more to take it. */
export function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      socket.off('drain', go)
      socket.off('close', go)
      resolve()
    }
    socket.on('drain', go)
    socket.on('close', go)
  })
}
