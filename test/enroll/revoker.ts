// A process of its own that revokes by name: `bun revoker.ts DATABASE NAME`.

import { Database } from 'bun:sqlite'
import { sqliteDevices } from '../../src/enroll/sqlite/records.ts'
import { sqliteKeys } from '../../src/keys/sqlite/records.ts'
import { revokeByName } from '../../src/operate/enroll.ts'
import { Secret } from '../../src/secret.ts'
import { identities } from '../../src/token/identity.ts'
import { HASH_KEY } from './scene.ts'

const [path = '', name = ''] = process.argv.slice(2)
const say = (text: string): void => void process.stdout.write(text)
const db = new Database(path)
process.exitCode = await revokeByName(
  { devices: sqliteDevices(db), keys: sqliteKeys(db) },
  name,
  identities([new Secret(HASH_KEY)]),
  { stdout: say, stderr: say },
  Date.now() / 1000,
)
