// Frames as a server sends them, and some that no server may send (RFC 6455 §5.2).

import type { Random } from './random.ts'

export interface FrameOptions {
  readonly isFinal?: boolean
  readonly reserved?: number
  readonly mask?: number | undefined
}

export function serverFrame(
  opcode: number,
  payload: Uint8Array,
  options: FrameOptions = {},
): Buffer {
  const { isFinal = true, reserved = 0, mask } = options
  const { byteLength: bytes } = payload
  const length =
    bytes < 126
      ? Buffer.from([bytes])
      : bytes < 65_536
        ? Buffer.from([126, bytes >> 8, bytes & 255])
        : Buffer.concat([Buffer.from([127, 0, 0, 0, 0]), uint32(bytes)])
  if (mask !== undefined) length[0] = (length[0] ?? 0) | 0x80
  return Buffer.concat([
    Buffer.from([(isFinal ? 0x80 : 0) | reserved | opcode]),
    length,
    mask === undefined ? Buffer.alloc(0) : uint32(mask),
    payload,
  ])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export type Message = readonly [kind: 'text' | 'binary' | 'ping' | 'pong', payload: string]

/**
 * Messages, some in fragments with control frames between them; payloads are in latin1. A client's are
 * masked, with a mask that changes nothing.
 */
export function randomFrames(
  random: Random,
  count: number,
  isClient = false,
): { readonly bytes: Buffer; readonly messages: readonly Message[] } {
  const frames: Buffer[] = []
  const mask = isClient ? 0 : undefined
  const messages: Message[] = []
  const control = (): void => {
    const isPing = random.next() < 0.5
    const payload = randomBytes(random, random.int(126))
    frames.push(serverFrame(isPing ? 9 : 10, payload, { mask }))
    messages.push([isPing ? 'ping' : 'pong', payload.toString('latin1')])
  }
  while (frames.length < count) {
    if (random.next() < 0.2) control()
    const isText = random.next() < 0.6
    const size = random.pick(random.next() < 0.03 ? [65_535, 65_536] : [0, 1, 125, 126, 200, 3000])
    const payload = isText ? randomText(random, size) : randomBytes(random, size)
    const parts = 1 + random.int(random.next() < 0.3 ? 5 : 1)
    let at = 0
    for (let part = 0; part < parts; part += 1) {
      if (part > 0 && random.next() < 0.3) control()
      const isFinal = part === parts - 1
      const end = isFinal ? payload.length : at + random.int(payload.length - at + 1)
      const opcode = part > 0 ? 0 : isText ? 1 : 2
      frames.push(serverFrame(opcode, payload.subarray(at, end), { isFinal, mask }))
      at = end
    }
    messages.push([isText ? 'text' : 'binary', payload.toString('latin1')])
  }
  return { bytes: Buffer.concat(frames), messages }
}

function randomBytes(random: Random, size: number): Buffer {
  const bytes = Buffer.alloc(size, 'postern')
  for (let at = 0; at < Math.min(size, 64); at += 1) bytes[at] = random.int(256)
  return bytes
}

function randomText(random: Random, size: number): Buffer {
  const letters = ['a', 'é', '€', '🐤', '\ufeff', '"', '\0']
  let text = ''
  while (text.length < Math.min(size, 100)) text += random.pick(letters)
  return Buffer.from(text + 'x'.repeat(Math.max(0, size - 100)))
}
