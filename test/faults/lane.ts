// One direction of one connection through the proxy, and what its toxics make of it.

import type { Socket } from 'node:net'
import { drained } from '../support/drained.ts'
import type { Random } from '../support/random.ts'
import type { Toxic } from './toxic.ts'

/** Each direction of each connection holds no more. */
const MAX_HELD_BYTES = 1_048_576
/** A throttled direction moves a piece this often. */
const PACE_MS = 20

export interface Lane {
  changed(): void
}

export interface LaneOptions {
  readonly toxics: () => readonly Toxic[]
  readonly chance: Random
  /** Told of bytes that went; says how many have in all. */
  readonly passed: (bytes: number) => number
  readonly over: () => boolean
  readonly onLimit: () => void
}

interface Held {
  readonly bytes: Buffer
  readonly arrivedAt: number
  /** From -1 to 1. */
  readonly jitter: number
}

export function lane(from: Socket, into: Socket, options: LaneOptions): Lane {
  const { chance, passed, over, onLimit } = options
  const held: Held[] = []
  let heldBytes = 0
  let endedAt: number | undefined
  let pacedUntil = 0
  let wake = (): void => {}
  /** Of this connection, from 0 to 1: what a limit varies by. */
  const share = chance.next()

  const find = <K extends Toxic['kind']>(kind: K): Extract<Toxic, { kind: K }> | undefined =>
    options.toxics().find((each): each is Extract<Toxic, { kind: K }> => each.kind === kind)
  /** Until something changes, or for that long. */
  const rest = (ms?: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(resolve, ms)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })

  from.on('data', (bytes: Buffer) => {
    held.push({ bytes, arrivedAt: performance.now(), jitter: chance.next() * 2 - 1 })
    heldBytes += bytes.byteLength
    if (heldBytes > MAX_HELD_BYTES) from.pause()
    wake()
  })
  from.on('end', () => {
    endedAt = performance.now()
    wake()
  })

  const dueAt = ({ arrivedAt, jitter }: Held): number => {
    const { latencyMs = 0, jitterMs = 0 } = find('latency') ?? {}
    return Math.max(arrivedAt + latencyMs + jitter * jitterMs, pacedUntil)
  }
  /** How many bytes may still pass. */
  const allowance = (): number => {
    const limit = find('limit_data')
    if (!limit) return Infinity
    return Math.max(0, limit.bytes + Math.floor((limit.variationBytes ?? 0) * share) - passed(0))
  }
  /** How many of these bytes go now. */
  const sizeOf = (bytes: number): number => {
    const bandwidth = find('bandwidth')
    const slicer = find('slicer')
    let size = Math.min(bytes, allowance())
    if (bandwidth) size = Math.min(size, Math.ceil((bandwidth.bytesPerSecond * PACE_MS) / 1000))
    if (slicer) {
      const { averageBytes, variationBytes } = slicer
      const off = Math.round((chance.next() * 2 - 1) * variationBytes)
      size = Math.min(size, Math.max(1, averageBytes + off))
    }
    return size
  }
  const pauseAfter = (bytes: number): number => {
    const bandwidth = find('bandwidth')
    const throttled = bandwidth ? (bytes / bandwidth.bytesPerSecond) * 1000 : 0
    return throttled + (find('slicer')?.delayMs ?? 0)
  }
  const write = async (bytes: Buffer): Promise<void> => {
    passed(bytes.byteLength)
    if (!into.write(bytes)) await drained(into)
  }

  const step = async (): Promise<'over' | undefined> => {
    if (allowance() === 0) {
      onLimit()
      return 'over'
    }
    const [first] = held
    const dueMs = first ? dueAt(first) : (endedAt ?? 0) + (find('slow_close')?.delayMs ?? 0)
    const waitMs = dueMs - performance.now()
    const stopped = find('timeout') !== undefined || find('reset_peer')?.timeoutMs === 0
    if (stopped || (!first && endedAt === undefined)) await rest()
    else if (waitMs > 0) await rest(waitMs)
    else if (first) await pass(first)
    else {
      into.end()
      return 'over'
    }
    return undefined
  }
  const pass = async (first: Held): Promise<void> => {
    const size = sizeOf(first.bytes.byteLength)
    const left = first.bytes.subarray(size)
    if (left.byteLength > 0) held[0] = { ...first, bytes: left }
    else held.shift()
    heldBytes -= size
    pacedUntil = performance.now() + pauseAfter(size)
    if (heldBytes <= MAX_HELD_BYTES / 2) from.resume()
    await write(first.bytes.subarray(0, size))
  }
  const run = async (): Promise<void> => {
    while (!over() && (await step()) === undefined);
  }
  // Not before both lanes are there: a limit of nothing cuts at once.
  setImmediate(() => void run())
  return { changed: () => wake() }
}
