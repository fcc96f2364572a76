// How a gate stops: it says so first, then takes nothing new, and gives what runs its time.

import type { Settings } from '../config/read.ts'
import type { Logger } from '../log.ts'
import type { Relay } from '../relay/relay.ts'

/** For what broken streams still hold to reach the kernel; the exit then closes them in order. */
const BREAK_MS = 250

export interface DrainOptions {
  /** As they are by then. */
  readonly settings: () => Settings
  readonly relay: Relay
  readonly log: Logger
  /** Of the operator, if it has a listener of its own. */
  readonly stopOperator: () => unknown
  readonly stopListening: () => Promise<unknown>
}

/** Resolves when the last request has ended or was broken; never before the drain is over. */
export async function drained(options: DrainOptions): Promise<void> {
  const { settings, relay, log, stopOperator, stopListening } = options
  await Bun.sleep(settings().drainDelaySeconds * 1000)
  void stopOperator()
  const stopped = stopListening()
  await Promise.race([stopped, Bun.sleep(settings().drainTimeoutSeconds * 1000)])
  if (relay.running === 0) return
  log.warn({ streams: relay.running }, 'drain time is over, breaking what still runs')
  relay.breakAll()
  await Promise.race([stopped, Bun.sleep(BREAK_MS)])
}
