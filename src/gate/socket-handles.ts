// Makes the transport use Bun's private socket handles after a test that they work. The test runs right
// after the start, because the first request would otherwise wait some milliseconds for it.

import { tryHandles } from '../http1/handles.ts'
import type { Transport } from '../http1/transport.ts'
import type { Logger } from '../log.ts'

/** By then, a request that was waiting for the gate has been answered. */
const AFTER_START_MS = 25

export async function useSocketHandles(wire: Transport, log: Logger): Promise<void> {
  await Bun.sleep(AFTER_START_MS)
  const found = await tryHandles()
  wire.use(found)
  if (found.push && found.write) return
  log.warn({ ...found }, 'this runtime has other sockets than expected: requests cost more CPU')
}
