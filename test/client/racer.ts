// A process of races.test.ts: connects, refreshes as often as asked, prints the token that it has.

import { connect } from '../../src/client/client.ts'
import { fileStorage } from '../../src/client/storage.ts'

const [baseUrl = '', folder = '', rounds = '0', enrollment = ''] = Bun.argv.slice(2)
const client = await connect({ baseUrl, storage: fileStorage(folder), enrollment })
for (let round = 0; round < Number(rounds); round += 1) {
  const next = await client.refreshNow()
  if (!next.ok) throw new Error(next.problem.code)
}
const token = await client.token()
if (!token.ok) throw new Error(token.problem.code)
// Not stopped: timers must not hold the process.
process.stdout.write(token.value)
