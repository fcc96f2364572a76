// Has the transport use what it knows of Bun's sockets, once that has been tried: right after the start,
// since its few milliseconds would be the first request's.

import { tryHandles } from '../http1/handles.ts'
import type { Transport } from '../http1/transport.ts'
import type { Logger } from '../log.ts'

/** The first request of a gate that is being waited for has been answered by then. */
const AFTER_START_MS = 25

export async function useSocketHandles(wire: Transport, log: Logger): Promise<void> {
  await Bun.sleep(AFTER_START_MS)
  const found = await tryHandles()
  wire.use(found)
  if (found.push && found.write) return
  log.warn({ ...found }, 'this runtime has other sockets than expected: requests cost more CPU')
}
