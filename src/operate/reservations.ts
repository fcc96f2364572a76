// Asks a running gate what running requests hold of caps. Only the gate knows, and tells its operator.

import type { Ask } from '../http1/ask.ts'
import { parseStrictObject } from '../token/strict-json.ts'
import type { Reservations } from './spend-caps.ts'

const TIMEOUT_MS = 2000
/** Enough for 256 running requests (the default maximum), in two accounts of two periods each. */
const MAX_BYTES = 4_194_304

/** Undefined if no gate answers there, or if it refuses the key. */
export async function askReservations(
  ask: Ask,
  gate: URL,
  adminToken: string,
): Promise<Reservations | undefined> {
  const reply = await ask({
    method: 'GET',
    url: new URL('/admin/reservations', gate),
    headers: { authorization: `Bearer ${adminToken}` },
    timeoutMs: TIMEOUT_MS,
    maxBytes: MAX_BYTES,
    reads: (status) => status === 200,
  })
  if (!reply.ok || reply.status !== 200) return undefined
  const said = parseStrictObject(Buffer.from(reply.body).toString('utf8'))?.['reservations']
  if (!Array.isArray(said)) return undefined
  const held = new Map<string, number>()
  for (const each of said as unknown[]) {
    const { of, name, period, reserved_micro_usd: amount } = Object(each) as Record<string, unknown>
    if (typeof amount !== 'number' || !Number.isSafeInteger(amount)) return undefined
    held.set(JSON.stringify([of, name, period]), amount)
  }
  return ({ kind, name }, period) =>
    held.get(JSON.stringify([kind === 'org' ? 'organisation' : 'caller', name, period])) ?? 0
}
