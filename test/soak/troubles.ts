// What goes wrong in a soak, one thing at a time: each begins, lasts a while, and is put right.

import type { Direction, Toxic, ToxicProxy } from '../faults/toxic.ts'
import type { RotatingIssuer } from './issuer.ts'

export interface Troubled {
  readonly front: ToxicProxy
  readonly back: ToxicProxy
  readonly keys: ToxicProxy
  readonly issuer: RotatingIssuer
  /** Every connection cut, nobody there for a while, then another at another port. */
  restartUpstream(): Promise<void>
  /** Each device asks for its next token, and uses it from then on. */
  refreshDevices(): Promise<void>
}

export interface Trouble {
  readonly name: string
  /** It harms no request: nothing but what it says may be seen of it. */
  readonly harmless?: true
  readonly seconds: number
  begin(at: Troubled): void | Promise<void>
  end(at: Troubled): void | Promise<void>
}

type Site = 'front' | 'back' | 'keys'
const SITES: Readonly<Record<Site, string>> = {
  front: 'clients',
  back: 'upstream',
  keys: 'key set',
}

function toxic(site: Site, direction: Direction, seconds: number, ...toxics: Toxic[]): Trouble {
  const kinds = toxics.map(({ kind }) => kind).join(' and ')
  return {
    name: `${kinds} ${direction}, ${SITES[site]}`,
    seconds,
    ...(site === 'keys' && { harmless: true as const }),
    begin: (at) => at[site].set(direction, ...toxics),
    end: (at) => at[site].heal(),
  }
}

function down(site: Site, seconds: number): Trouble {
  return {
    name: `down, ${SITES[site]}`,
    seconds,
    ...(site === 'keys' && { harmless: true as const }),
    begin: (at) => at[site].down(),
    end: (at) => at[site].heal(),
  }
}

const LATE = { kind: 'latency', latencyMs: 150, jitterMs: 120 } as const
const THIN = { kind: 'bandwidth', bytesPerSecond: 100_000 } as const
const SLICED = { kind: 'slicer', averageBytes: 200, variationBytes: 190, delayMs: 2 } as const
const CUT = { kind: 'limit_data', bytes: 0, variationBytes: 12_000 } as const
const RESET = { kind: 'reset_peer', timeoutMs: 300 } as const
const STUCK = { kind: 'timeout', timeoutMs: 0 } as const
const CLOSED = { kind: 'timeout', timeoutMs: 1500 } as const
const LINGERING = { kind: 'slow_close', delayMs: 1000 } as const

export const TROUBLES: readonly Trouble[] = [
  toxic('back', 'downstream', 8, LATE),
  toxic('back', 'downstream', 8, THIN, SLICED),
  toxic('back', 'downstream', 6, CUT),
  toxic('back', 'upstream', 4, CUT),
  toxic('back', 'downstream', 3, RESET),
  toxic('back', 'downstream', 8, STUCK),
  toxic('back', 'upstream', 4, CLOSED),
  toxic('back', 'downstream', 6, LINGERING),
  down('back', 3),
  toxic('front', 'downstream', 8, LATE),
  toxic('front', 'downstream', 8, THIN, SLICED),
  toxic('front', 'downstream', 6, CUT),
  toxic('front', 'upstream', 4, CUT),
  toxic('front', 'downstream', 3, RESET),
  toxic('front', 'upstream', 6, STUCK),
  toxic('front', 'downstream', 8, STUCK),
  down('front', 3),
  down('keys', 12),
  toxic('keys', 'downstream', 12, STUCK),
  toxic('keys', 'downstream', 12, { kind: 'limit_data', bytes: 150 }),
  {
    name: 'upstream restarts',
    seconds: 3,
    begin: (at) => at.restartUpstream(),
    end: () => {},
  },
  {
    name: 'key rotation',
    harmless: true,
    // Published, and read again by the gate before it signs.
    seconds: 12,
    begin: ({ issuer }) => void issuer.rotate(),
    end: ({ issuer }) => {
      issuer.rotate()
      // What the key before has signed is cached for twenty seconds at the most.
      setTimeout(() => issuer.rotate(), 25_000).unref()
    },
  },
  {
    name: 'device tokens refreshed',
    harmless: true,
    seconds: 1,
    begin: (at) => at.refreshDevices(),
    end: () => {},
  },
]
