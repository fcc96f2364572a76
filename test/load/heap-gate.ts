// The gate from its source, with a door for a test: whoever connects to the socket named by HEAP_SOCKET is
// told how large the heap is after a full collection.

import { heapStats } from 'bun:jsc'

Bun.listen({
  unix: process.env['HEAP_SOCKET'] ?? '',
  socket: {
    open(socket) {
      Bun.gc(true)
      const { heapSize, objectCount } = heapStats()
      socket.end(JSON.stringify({ heapSize, objectCount }))
    },
    data() {},
  },
})

await import('../../src/main.ts')
