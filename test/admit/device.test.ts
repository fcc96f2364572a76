// A device's one credential, in whichever of two headers, and what it admits to.

import { describe, expect, test } from 'bun:test'
import { type AdmitDevice, deviceAdmission, deviceToken } from '../../src/admit/device.ts'
import type { DeviceClaims } from '../../src/enroll/device-token.ts'
import { declined, type EnrollDecision } from '../../src/enroll/refusals.ts'
import { devicePolicies } from '../../src/policy/device.ts'
import { defaultPolicies } from '../../src/policy/from-settings.ts'
import { NO_LIMITS, policy } from '../../src/policy/policy.ts'
import { EVERYTHING, everything } from '../support/admitted.ts'

const T = 'aaa.bbb.ccc'
const OTHER = 'aaa.bbb.ddd'
const P = 'sk-ant-proxy-'
const said = (authorization: string | null, apiKey: string | null, query = ''): string => {
  const token = deviceToken({ authorization, apiKey, query })
  return token.ok ? token.value : token.code
}

describe('a token', () => {
  test.each([
    ['as bearer', `Bearer ${T}`, null, T],
    ['as bearer in another case', `bEARER  ${T}`, null, T],
    ['as API key', null, T, T],
    ['with its prefix, as bearer', `Bearer ${P}${T}`, null, P + T],
    ['with its prefix, as API key', null, P + T, P + T],
    ['both ways', `Bearer ${T}`, T, T],
    ['both ways, both prefixed', `Bearer ${P}${T}`, P + T, P + T],
    ['both ways, one prefixed', `Bearer ${P}${T}`, T, T],
    ['both ways, the other prefixed', `Bearer ${T}`, P + T, P + T],
  ] as const)('%s', (_, authorization, apiKey, token) => {
    expect(said(authorization, apiKey)).toBe(token)
  })
})

describe('is no one token:', () => {
  test.each([
    ['none', null, null, 'missing_authorization'],
    ['two of them', `Bearer ${T}`, OTHER, 'ambiguous_credentials'],
    ['two, the second prefixed', `Bearer ${T}`, P + OTHER, 'ambiguous_credentials'],
    ['the prefix twice on one side', `Bearer ${T}`, P + P + T, 'ambiguous_credentials'],
    ['another case of it', `Bearer ${T}`, T.toUpperCase(), 'ambiguous_credentials'],
    ['API keys joined by a comma', null, `${T}, ${T}`, 'ambiguous_credentials'],
    ['API keys joined without a blank', null, `${T},${T}`, 'ambiguous_credentials'],
    ['bearers joined by a comma', `Bearer ${T}, Bearer ${T}`, null, 'ambiguous_credentials'],
    ['bearers joined, beside a key', `Bearer ${T}, Bearer ${T}`, T, 'ambiguous_credentials'],
    ['a key that names a scheme', null, `Bearer ${T}`, 'malformed_authorization'],
    ['an empty key', null, '', 'missing_token'],
    ['an empty key beside a bearer', `Bearer ${T}`, '', 'missing_token'],
    ['an empty bearer beside a key', 'Bearer ', T, 'missing_token'],
    ['another scheme beside a key', `Basic ${T}`, T, 'malformed_authorization'],
    ['another scheme', `Basic ${T}`, null, 'malformed_authorization'],
    ['a key with a line break', null, `${T}\n${T}`, 'malformed_authorization'],
  ] as const)('%s', (_, authorization, apiKey, code) => {
    expect(said(authorization, apiKey)).toBe(code)
  })
  test('one in the query, with any other credential', () => {
    for (const [authorization, apiKey] of [
      [null, null],
      [`Bearer ${T}`, null],
      [null, T],
      [`Bearer ${T}`, T],
    ] as const) {
      expect(said(authorization, apiKey, `access_token=${T}`)).toBe('malformed_authorization')
    }
  })
})

const defaults = {
  ...defaultPolicies({ rateLimitRpm: 0, rateLimitBurst: 1, maxIdentityConcurrency: 1 }),
  device: EVERYTHING,
  ratedDevice: EVERYTHING,
}
const ofDevice = devicePolicies(everything, defaults)

describe('admission', () => {
  const noKey = (): never => {
    throw new Error('asked for a key')
  }
  const NOW = { epochSeconds: 1, monotonicMs: 1 }
  const claims = (more: Partial<DeviceClaims> = {}): DeviceClaims => ({
    deviceId: 'anna-laptop',
    deviceHash: 'ab'.repeat(32),
    jti: 'j',
    family: 'f',
    issuedAt: 0,
    expiresAt: 9,
    models: undefined,
    rateLimit: undefined,
    spendCap: undefined,
    policy: undefined,
    orgId: undefined,
    userId: undefined,
    ...more,
  })
  const by = (answer: EnrollDecision<DeviceClaims>): AdmitDevice =>
    deviceAdmission(async () => answer, ofDevice, noKey)
  const sent = { authorization: `Bearer ${T}`, apiKey: null, query: '' }

  test("carries the enrolment's grants, and not the device's own name", async () => {
    const value = claims({
      models: ['claude-*'],
      rateLimit: 7,
      spendCap: 1.5,
      orgId: 'acme',
      userId: 'u1',
    })
    const admitted = await by({ ok: true, value })(sent, NOW)
    expect(admitted).toEqual({
      ok: true,
      value: {
        kind: 'device',
        groups: [],
        identity: 'ab'.repeat(32),
        issuer: undefined,
        org: 'acme',
        policy: policy({
          name: 'everything',
          models: ['claude-*'],
          person: { ...NO_LIMITS, rate: { perMinute: 7, burst: 7 }, spendPerMonth: 1_500_000 },
        }),
      } as never,
    })
    expect(JSON.stringify(admitted)).not.toMatch(/anna|u1/)
  })
  test('a limit that the enrolment leaves out does not apply', async () => {
    const admitted = await by({ ok: true, value: claims() })(sent, NOW)
    expect(admitted.ok && [admitted.value.org, admitted.value.policy]).toEqual([
      undefined,
      EVERYTHING,
    ] as never)
  })
  test('a cap is whole micro-dollars, to the nearest', async () => {
    for (const [spendCap, micro] of [
      [20, 20_000_000],
      [0.000001, 1],
      [0.0000014, 1],
      [2.01, 2_010_000],
      [1.001, 1_001_000],
      [0, 0],
    ] as const) {
      const admitted = await by({ ok: true, value: claims({ spendCap }) })(sent, NOW)
      expect(admitted.ok && admitted.value.policy.person.spendPerMonth).toBe(micro)
    }
  })
  test('a cap in cents is that many micro-dollars, and not one fewer', async () => {
    for (let cents = 1; cents < 30_000; cents += 1) {
      const spendCap = cents / 100
      const admitted = await by({ ok: true, value: claims({ spendCap }) })(sent, NOW)
      if ((admitted.ok && admitted.value.policy.person.spendPerMonth) !== cents * 10_000)
        throw new Error(String(spendCap))
    }
  })
  test('a token that is remembered is admitted as the same object', async () => {
    const admit = by({ ok: true, value: claims({ spendCap: 1 }) })
    expect(await admit(sent, NOW)).toBe(await admit(sent, NOW))
  })
  test('one for which the gate has no policy may do nothing', async () => {
    const admit = deviceAdmission(
      async () => ({ ok: true, value: claims() }),
      () => undefined,
      noKey,
    )
    expect(await admit(sent, NOW)).toMatchObject({ code: 'policy_unknown' })
  })
  test('a refusal of the enrolment is the refusal', async () => {
    const refusal = declined('token_revoked', { reason: 'x' })
    expect(await by(refusal)(sent, NOW)).toEqual(refusal)
  })
  test('anything but exactly one token is not verified', async () => {
    const admit = deviceAdmission(
      () => {
        throw new Error('asked')
      },
      ofDevice,
      noKey,
    )
    expect(await admit({ ...sent, apiKey: OTHER }, NOW)).toMatchObject({
      code: 'ambiguous_credentials',
    })
  })
})
