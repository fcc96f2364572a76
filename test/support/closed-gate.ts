// A gate that admits nobody, and whose every part behind the door is a bug to reach.

import { askedModels } from '../../src/dispatch/asked-models.ts'
import type { AdminParts } from '../../src/accept/admin/parts.ts'
import { answers } from '../../src/accept/answers.ts'
import type { Parts } from '../../src/accept/app.ts'
import { cors } from '../../src/accept/cors.ts'
import { deviceRoutes } from '../../src/accept/devices.ts'
import { loginCookies } from '../../src/accept/login/cookies.ts'
import { loginRoutes } from '../../src/accept/login/routes.ts'
import { probes } from '../../src/accept/probes.ts'
import type { DeviceEnrollment } from '../../src/enroll/enrollment.ts'
import { memoryCounters } from '../../src/gate/state.ts'
import type { Ledger } from '../../src/ledger/port.ts'
import { UPSTREAM_KINDS } from '../../src/names.ts'
import { granted, refused } from '../../src/refusal.ts'
import { Secret } from '../../src/secret.ts'
import { realtimeServedBy, servedBy } from './served.ts'

export const never = (): never => {
  throw new Error('reached')
}
export const said = answers(() => {})

/** One object, as the gate's own is. */
const OPERATOR = new Secret('a'.repeat(32))

export function admin(): AdminParts {
  return {
    answers: said,
    adminToken: () => OPERATOR,
    admitDevice: async () => refused('invalid_token'),
    enrollment: undefined,
    reports: { stats: never, requests: never, spent: never },
    register: { devices: never, note: never },
    breakers: () => ({}),
    charges: { reservations: never },
    bodyTimeoutMs: () => 1,
  }
}

const NOBODY: Parts['inference']['admissions'] = {
  user: async () => refused('missing_authorization'),
  device: async () => refused('missing_authorization'),
  key: () => refused('missing_authorization'),
  session: () => refused('missing_authorization'),
}

export function nothingBehindTheDoor(): Parts {
  const document = async () => refused('upstream_unavailable')
  const ledger: Ledger = {
    open: never,
    follow: never,
    close: never,
    flush: never,
    health: () => ({ ok: true, waiting: 0, lost: 0 }),
    deleteBefore: never,
    stop: never,
  }
  const enrollment: DeviceEnrollment = {
    bootstrap: never,
    refresh: never,
    verify: never,
    about: never,
    revoke: never,
    prepare: never,
    renameUser: never,
    poll: never,
    start: never,
    stop: never,
    storage: 'ok',
  }
  return {
    answers: said,
    cors: cors([]),
    idleSeconds: () => 79,
    countAddress: () => granted(undefined),
    log: { error: never } as unknown as Parts['log'],
    routes: servedBy(...UPSTREAM_KINDS),
    open: {
      answers: said,
      probes: probes({
        answers: said,
        backend: 'tinfoil',
        keys: { ready: () => true },
        ledger,
        draining: () => false,
        fileTrouble: () => undefined,
      }),
      countAddress: () => granted(undefined),
      documents: { hpkeKeys: document, attestation: document },
      bodyTimeoutMs: () => 1,
    },
    about: {
      answers: said,
      counters: memoryCounters,
      admissions: NOBODY,
      charges: { standing: never },
      enrollment,
      aboutKey: never,
      claimsOf: undefined,
    },
    realtime: realtimeServedBy('openai'),
    realtimeDoors: never,
    inference: {
      answers: said,
      admissions: NOBODY,
      budget: { spend: never, reserve: never, underWay: 0 },
      charges: {
        needsBody: never,
        unpriced: never,
        take: never,
        hold: never,
        standing: never,
        reservations: never,
      },
      dispatch: never,
      pickByModel: never,
      mergeModels: never,
      listOwn: never,
      // Nothing was told.
      askedModels: askedModels({ of: never, last: () => ({ told: undefined }) }),
      pickKept: never,
      ownerOf: never,
      bodies: { read: never },
      plans: () => undefined,
      running: { of: never, enter: never },
      waits: { note: never, waitMs: never },
      relay: { send: never, breakAll: never, abandon: () => undefined, running: 0 },
      ledger,
      setIdleTimeout: () => {},
    },
    devices: deviceRoutes({
      answers: said,
      enrollment,
      policy: () => 'off',
      enrollingUser: undefined,
      addressKey: () => '',
      countAddress: () => granted(undefined),
      bodyTimeoutMs: () => 1,
    }),
    login: loginRoutes({
      answers: said,
      login: {
        returnsHere: true,
        begin: never,
        open: never,
        finish: never,
        collect: never,
        find: never,
        wasEnded: never,
        standing: never,
        renew: never,
        accessToken: never,
        end: never,
        idle: never,
      },
      cookies: loginCookies({ secure: false, returnsHere: true }),
      countAddress: () => granted(undefined),
      publicUrl: () => new URL('http://127.0.0.1'),
      redirectUri: new URL('http://127.0.0.1/auth/callback'),
      bodyTimeoutMs: () => 1,
    }),
    admin: admin(),
  }
}
