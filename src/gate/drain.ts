// How a gate stops: `/readyz` says so first, then it accepts nothing new and waits for running requests.

import type { Settings } from '../config/read.ts'
import type { Logger } from '../log.ts'
import type { Relay } from '../relay/relay.ts'
import type { RealtimeSessions } from '../realtime/sessions.ts'

/** Time for the last bytes of broken streams to reach the kernel; the exit then closes the sockets. */
const BREAK_MS = 250

export interface DrainOptions {
  /** Read when needed: a reload may change them. */
  readonly settings: () => Settings
  readonly relay: Pick<Relay, 'running' | 'breakAll'>
  readonly realtime: Pick<RealtimeSessions, 'running' | 'breakAll' | 'drain'> | undefined
  readonly log: Logger
  /** Stops the operator's separate listener, if there is one. */
  readonly stopOperator: () => unknown
  readonly stopListening: () => Promise<unknown>
}

/** Resolves when the last request has ended or was cut. */
export async function drained(options: DrainOptions): Promise<void> {
  const { settings, relay, realtime, log, stopOperator, stopListening } = options
  await Bun.sleep(settings().drainDelaySeconds * 1000)
  void stopOperator()
  const stopped = Promise.all([stopListening(), realtime?.drain()])
  await Promise.race([stopped, Bun.sleep(settings().drainTimeoutSeconds * 1000)])
  const streams = relay.running + (realtime?.running ?? 0)
  if (streams === 0) return
  log.warn({ streams }, 'drain time is over, breaking what still runs')
  relay.breakAll()
  realtime?.breakAll()
  await Promise.race([stopped, Bun.sleep(BREAK_MS)])
}
