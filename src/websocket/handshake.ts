// The opening handshake of a WebSocket (RFC 6455 §4): what a client asks with, and what must be answered.

import { createHash, randomBytes } from 'node:crypto'

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const VERSION = '13'
/** 16 bytes in base64. */
const KEY = /^[A-Za-z0-9+/]{22}==$/

export interface Handshake {
  readonly headers: Readonly<Record<string, string>>
  /** What is wrong with a 101, for the log; undefined if it opens the WebSocket that was asked for. */
  fault(answered: Readonly<Record<string, string | undefined>>): string | undefined
}

/** No extension is offered: messages pass as they are. `protocol`: the only one that is offered. */
export function handshake(protocol: string | undefined): Handshake {
  const key = randomBytes(16).toString('base64')
  const accept = createHash('sha1')
    .update(key + GUID)
    .digest('base64')
  return {
    headers: {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': VERSION,
      'sec-websocket-key': key,
      ...(protocol !== undefined && { 'sec-websocket-protocol': protocol }),
    },
    fault(answered) {
      if (answered['upgrade']?.toLowerCase() !== 'websocket') return 'another protocol'
      if (!hasToken(answered['connection'] ?? '', 'upgrade')) return 'no upgrade'
      if (answered['sec-websocket-accept'] !== accept) return 'wrong accept'
      if (answered['sec-websocket-extensions'] !== undefined) return 'an extension'
      const chosen = answered['sec-websocket-protocol']
      return chosen === undefined || chosen === protocol ? undefined : 'another sub-protocol'
    },
  }
}

/** Whether a request asks to open a WebSocket of the version that there is. */
export const asksForWebSocket = (headers: Headers): boolean =>
  headers.get('upgrade')?.toLowerCase() === 'websocket' &&
  hasToken(headers.get('connection') ?? '', 'upgrade') &&
  headers.get('sec-websocket-version') === VERSION &&
  KEY.test(headers.get('sec-websocket-key') ?? '')

const hasToken = (list: string, token: string): boolean =>
  list.split(',').some((each) => each.trim().toLowerCase() === token)
