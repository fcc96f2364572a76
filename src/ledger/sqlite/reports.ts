// Reports from the SQLite file, in pieces; the gate serves requests between them. Identical concurrent
// questions share one answer, and each caller may ask a few at a time, so that neither a page that
// reloads nor a device that floods delays the others.

import type { Database } from 'bun:sqlite'
import { type Decision, granted, refused } from '../../refusal.ts'
import type { DatabaseConnection } from '../../database/connection.ts'
import { unusableFrom } from '../../database/trouble.ts'
import { pace, type Pieces } from './in-pieces.ts'
import { requestsInPieces } from './last-requests.ts'
import type { Reports } from '../reports.ts'
import { usageStats } from '../sums.ts'
import { spentInPieces, usageSumsInPieces } from './usage-report.ts'

const MAX_RUNNING = 32
const MAX_RUNNING_OF_ONE = 4
const RETRY_SECONDS = 5

/**
 * `connection` belongs to the reports alone, so that their reads do not affect statements of
 * others.
 */
export function sqliteReports(connection: DatabaseConnection): Reports {
  const running = new Map<string, Promise<Decision<unknown>>>()
  const askers = new Map<string, number>()
  const inTurn = pace()

  const answer = async <T>(make: (database: Database) => Pieces<T>): Promise<Decision<T>> => {
    let database: Database | undefined
    try {
      database = connection.get()
      return granted(await inTurn(make(database)))
    } catch (error) {
      const unusable = unusableFrom(error)
      // The gate switched files meanwhile: what was read so far is useless.
      if (!unusable && isOpen(database)) throw error
      const reason = unusable?.reason ?? 'moved'
      return refused('database_unavailable', { reason, retryAfterSeconds: RETRY_SECONDS })
    }
  }

  const isOpen = (database: Database | undefined): boolean => {
    const now = connection.open()
    return now.ok && now.database === database
  }

  const ask = <T>(
    asker: string,
    question: string,
    make: (database: Database) => Pieces<T>,
  ): Promise<Decision<T>> => {
    const same = running.get(question)
    if (same) return same as Promise<Decision<T>>
    const mine = askers.get(asker) ?? 0
    if (running.size >= MAX_RUNNING || mine >= MAX_RUNNING_OF_ONE) {
      return Promise.resolve(refused('reports_busy', { retryAfterSeconds: RETRY_SECONDS }))
    }
    askers.set(asker, mine + 1)
    const asked = answer(make).finally(() => {
      running.delete(question)
      const left = (askers.get(asker) ?? 1) - 1
      if (left > 0) askers.set(asker, left)
      else askers.delete(asker)
    })
    running.set(question, asked)
    return asked
  }

  return {
    async stats(filter) {
      const question = `stats ${JSON.stringify(filter)}`
      const sums = await ask(filter.device ?? '', question, (database) =>
        usageSumsInPieces(database, filter),
      )
      return sums.ok ? granted(usageStats(sums.value)) : sums
    },
    async requests(filter, page) {
      const question = `requests ${JSON.stringify([filter, page])}`
      const found = await ask(filter.device ?? '', question, (database) =>
        requestsInPieces(database, filter, page),
      )
      if (!found.ok) return found
      return found.value ? granted(found.value) : refused('bad_request', { reason: 'cursor' })
    },
    spent: (sinceMs) =>
      ask('the gate', `spent ${sinceMs}`, (database) => spentInPieces(database, sinceMs)),
  }
}
