// All that the transport promises, by what node:net documents alone.

import { expect, test } from 'bun:test'

test('the transport keeps its promises without the private parts of a socket', async () => {
  const child = Bun.spawn(
    [process.execPath, 'test', `${import.meta.dir}/transport.test.ts`, '--timeout', '20000'],
    { env: { ...process.env, TEST_SOCKET_HANDLES: 'none' }, stdout: 'pipe', stderr: 'pipe' },
  )
  const said = await new Response(child.stderr).text()
  expect(said.split('\n').filter((line) => line.startsWith('(fail)'))).toEqual([])
  expect([await child.exited, / (\d+) pass/.test(said)]).toEqual([0, true])
}, 60_000)
