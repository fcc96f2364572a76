// Project Wycheproof's vectors for ES256 in a compact JWS, through the whole of admission with their
// own key published. One of them is signed well, and is refused for what it says (`foo`) alone.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { compactVerify, importJWK, type JWK } from 'jose'
import { type UserAdmission, userAdmission } from '../../src/admit/admit.ts'
import { issuerOf } from '../../src/admit/issuer-settings.ts'
import { identifier } from '../../src/token/identity.ts'
import { type KeyServer, keyServer, source } from '../support/keys.ts'
import { NOW, SETTINGS } from '../support/mint.ts'
import vectors from '../vectors/jws/wycheproof-es256.json'
import { everything } from '../support/admitted.ts'

let server: KeyServer
let admit: UserAdmission['admit']
beforeAll(async () => {
  server = await keyServer([vectors.public])
  admit = userAdmission(
    [issuerOf(SETTINGS, source(server))],
    identifier(undefined),
    everything,
  ).admit
})
afterAll(() => server.close())

for (const { tcId, comment, jws, result } of vectors.tests) {
  test(`${tcId}: ${comment}`, async () => {
    const now = { epochSeconds: NOW, monotonicMs: performance.now() }
    const said = await admit({ authorization: `Bearer ${jws}`, query: '' }, now)
    if (said.ok) throw new Error('admitted')
    const reason = 'claims are not an object with distinct members'
    if (result === 'valid') expect(said).toMatchObject({ code: 'invalid_token', reason })
    else expect(said.code).toBe(jws === '' ? 'missing_token' : 'invalid_token')
  })

  test(`${tcId}: the library that checks our signatures says the same`, async () => {
    const key = await importJWK(vectors.public as JWK, 'ES256')
    const options = { algorithms: ['ES256'] }
    const verified = await compactVerify(jws, key, options).then(
      () => 'valid',
      () => 'invalid',
    )
    expect(verified).toBe(result)
  })
}
