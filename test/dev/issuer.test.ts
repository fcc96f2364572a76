// The development issuer, asked over its own socket as any relying party would.

import { afterAll, beforeAll, expect, test } from 'bun:test'

import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'

import { startIssuer, type DevIssuer } from '../../src/dev/issuer.ts'

let issuer: DevIssuer

beforeAll(async () => {
  issuer = await startIssuer()
})
afterAll(() => issuer.close())

const verify = (token: string, from = issuer) =>
  jwtVerify(token, createRemoteJWKSet(new URL(from.jwksUrl)), {
    issuer: from.issuer,
    audience: from.audience,
    algorithms: ['ES256'],
  })

test('a token verifies against the published keys', async () => {
  const { payload, protectedHeader } = await verify(await issuer.token())
  expect(protectedHeader.typ).toBe('JWT')
  expect(payload).toMatchObject({
    iss: issuer.issuer,
    aud: 'postern-dev',
    sub: 'test-user',
    client_id: 'test-client',
    scope: 'inference',
  })
  expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(24 * 60 * 60)
  expect(payload.jti).toBeString()
})

test('two tokens have two ids', async () => {
  const [a, b] = [decodeJwt(await issuer.token()), decodeJwt(await issuer.token())]
  expect(a.jti).not.toBe(b.jti)
})

test('a token of one issuer does not verify at another', async () => {
  const other = await startIssuer()
  try {
    const foreign = await other.token({ iss: issuer.issuer })
    await expect(verify(foreign)).rejects.toThrow('no applicable key found')
  } finally {
    await other.close()
  }
})

test('claims can be replaced, added and left out', async () => {
  const token = await issuer.token({ sub: 'someone', scope: undefined, tier: 'gold', exp: 1 })
  const claims = decodeJwt(token)
  expect(claims).toMatchObject({ sub: 'someone', tier: 'gold', exp: 1 })
  expect('scope' in claims).toBe(false)
  await expect(verify(token)).rejects.toThrow('"exp" claim timestamp check failed')
})

test('the clock it is given dates its tokens', async () => {
  const dated = await startIssuer({ now: () => 1_700_000_000_999 })
  try {
    const { iat, exp } = decodeJwt(await dated.token())
    expect([iat, exp]).toEqual([1_700_000_000, 1_700_086_400])
  } finally {
    await dated.close()
  }
})

test('the published key is the public half only', async () => {
  const response = await fetch(issuer.jwksUrl)
  expect(response.headers.get('content-type')).toBe('application/json')
  const { keys } = (await response.json()) as { keys: Record<string, string>[] }
  expect(keys).toHaveLength(1)
  const [key] = keys
  expect(Object.keys(key ?? {}).toSorted()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
  expect(key).toMatchObject({ kty: 'EC', crv: 'P-256', use: 'sig', alg: 'ES256' })
  expect(key?.['kid']).toBe(decodeProtectedHeader(await issuer.token()).kid ?? '')
})

test('it serves its keys and nothing else', async () => {
  expect((await fetch(`${issuer.issuer}/token`)).status).toBe(404)
  expect((await fetch(issuer.issuer)).status).toBe(404)
  const posted = await fetch(issuer.jwksUrl, { method: 'POST', body: '{}' })
  expect(posted.status).toBe(405)
  expect(posted.headers.get('allow')).toBe('GET')
})

test('it closes with a connection still open', async () => {
  const short = await startIssuer()
  await (await fetch(short.jwksUrl)).text()
  await short.close()
  await expect(fetch(short.jwksUrl)).rejects.toThrow()
})
