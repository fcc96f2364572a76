// Holds a connection's status, and reports each change to the app's listeners.

import type { Status } from './api.ts'
import { problem } from './ask.ts'

export type StatusListener = (status: Status) => void

export interface StatusBoard {
  readonly status: Status
  become(next: Status): void
  /** The returned function ends it. */
  listen(listener: StatusListener): () => void
}

export function statusBoard(first: StatusListener | undefined): StatusBoard {
  const listeners = new Set<StatusListener>()
  if (first) listeners.add(first)
  let status: Status = { state: 'unavailable', problem: problem('unreachable') }
  /** The status last reported; '' before the first check. */
  let reported = ''
  return {
    get status() {
      return status
    },
    become(next) {
      const changed = describe(next) !== reported
      status = next
      if (!changed) return
      reported = describe(next)
      for (const listener of listeners) {
        try {
          listener(next)
        } catch {
          // A bug in an app's listener must not end the renewal.
        }
      }
    },
    listen(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}

function describe(status: Status): string {
  const { state } = status
  const code = 'problem' in status ? status.problem.code : ''
  const until = 'expiresAt' in status ? status.expiresAt.getTime() : ''
  return `${state} ${code} ${until}`
}
