// A process of its own that revokes by name: `bun revoker.ts DATABASE NAME`.

import { Database } from 'bun:sqlite'
import { revokeByName } from '../../src/operate/enroll.ts'
import { Secret } from '../../src/secret.ts'
import { identities } from '../../src/token/identity.ts'
import { HASH_KEY } from './scene.ts'

const [path = '', name = ''] = process.argv.slice(2)
const say = (text: string): void => void process.stdout.write(text)
process.exitCode = await revokeByName(
  new Database(path),
  name,
  identities([new Secret(HASH_KEY)]),
  { stdout: say, stderr: say },
  Date.now() / 1000,
)
