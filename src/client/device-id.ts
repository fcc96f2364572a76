// The device's id: random, generated once and kept. Never the machine's serial number, which would
// follow its owner from one gate, and one operator, to the next.

import { randomUUID } from 'node:crypto'
import type { Storage } from './api.ts'

const NAME = 'device-id'
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** Call it in one process at a time, or two would enrol as two devices. */
export async function deviceId(storage: Storage): Promise<string> {
  const kept = await storage.get(NAME)
  if (kept !== undefined && UUID.test(kept)) return kept
  const made = randomUUID()
  await storage.set(NAME, made)
  return made
}
