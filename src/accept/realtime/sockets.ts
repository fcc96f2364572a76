// What Bun's server does with its WebSockets. Extensions are negotiated with nobody: what passes is what was
// sent.

/** What a WebSocket's own session does. */
export interface SocketSession<Socket> {
  open(socket: Socket): void
  onClientText(text: string): void
  onClientBinary(payload: Uint8Array): void
  onClientPing(payload: Uint8Array): void
  onClientPong(payload: Uint8Array): void
  onClientDrain(): void
  onClientClose(code: number, reason: string): void
  onBug(bug: unknown): void
}

/** A larger message ends its connection with 1009: 15 MiB of sound in base64, and what is around it. */
export const MAX_MESSAGE_BYTES = 24 * 1024 * 1024
/** Bun asks a silent client whether it is there, and ends the connection of one that is not. */
const CLIENT_SILENCE_SECONDS = 120

type OpenSocket = Bun.ServerWebSocket<SocketSession<Bun.ServerWebSocket<unknown>>>

export const sockets = {
  idleTimeout: CLIENT_SILENCE_SECONDS,
  maxPayloadLength: MAX_MESSAGE_BYTES,
  // 0 is no limit: nothing is dropped, since the other side waits for what is not taken.
  backpressureLimit: 0,
  perMessageDeflate: false,
  sendPings: true,
  open: (socket: OpenSocket) => socket.data.open(socket),
  message(socket: OpenSocket, message: string | Buffer) {
    if (typeof message === 'string') socket.data.onClientText(message)
    else socket.data.onClientBinary(message)
  },
  drain: (socket: OpenSocket) => socket.data.onClientDrain(),
  ping: (socket: OpenSocket, payload: Buffer) => socket.data.onClientPing(payload),
  pong: (socket: OpenSocket, payload: Buffer) => socket.data.onClientPong(payload),
  close: (socket: OpenSocket, code: number, reason: string) =>
    socket.data.onClientClose(code, reason),
  error: (bug: Error, socket: OpenSocket) => socket.data.onBug(bug),
}
