// Stands in for the command line in the tests of exec, token and setup: one JSON argument.

import { fileStorage } from '../../src/client/storage.ts'
import { exec } from '../../src/operate/exec.ts'
import { setupClaudeCode } from '../../src/operate/setup-claude-code.ts'
import { token } from '../../src/operate/token.ts'

const { command, gate, folder, enrollment, withhold, ...more } = JSON.parse(Bun.argv[2] ?? '')
const connect = { baseUrl: gate, storage: fileStorage(folder), enrollment }

if (command === 'token') process.exitCode = await token({ connect, ...more }, process)
else if (command === 'setup') {
  process.exitCode = await setupClaudeCode({ baseUrl: gate, ...more }, process)
} else {
  // As the binary will: nothing of ours is left to wait for.
  process.exit(await exec({ command, connect, env: process.env, withhold }, process))
}
