// Run as a process of its own: so many connections, each pipelining GETs at 1 MB/s and coming back at
// once where it is closed, until it is killed. Prints a line once all have sent something.

import net from 'node:net'

const [port = '', connections = '1', path = '/'] = process.argv.slice(2)
const BLOCK_REQUESTS = 400
const BYTES_PER_MS = 1000
const block = `GET ${path} HTTP/1.1\r\nHost: gate.test\r\n\r\n`.repeat(BLOCK_REQUESTS)
let begun = 0

function flood(): void {
  const socket = net.connect({ port: Number(port), host: '127.0.0.1' })
  socket.on('error', () => {})
  socket.resume()
  socket.on('connect', () => {
    begun += 1
    if (begun === Number(connections)) process.stdout.write('flooding\n')
    const startedAt = performance.now()
    let blocks = 0
    const timer = setInterval(() => {
      while (blocks * block.length < (performance.now() - startedAt) * BYTES_PER_MS) {
        if (socket.writableLength > block.length * 8) return
        socket.write(block)
        blocks += 1
      }
    }, 2)
    socket.on('close', () => clearInterval(timer))
  })
  socket.on('close', () => setTimeout(flood, 5))
}

for (let each = 0; each < Number(connections); each += 1) flood()
