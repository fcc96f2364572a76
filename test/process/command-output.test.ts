// What commands print: a reader that leaves early ends nothing loudly, and an output that cannot be
// written is a failure that is said.

import { describe, expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { binary, endOf, passing } from '../support/binary.ts'

async function shell(script: string) {
  const child = Bun.spawn(['bash', '-c', script, await binary()], {
    env: { PATH: process.env['PATH'] ?? '', ...passing() },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  return endOf(child)
}

const COMMANDS = ['--help', '--version', 'usage --help', 'enrol --help', 'exec --help']

describe('a reader that has left ends a command quietly', () => {
  test.each(COMMANDS)('%s', async (words) => {
    // The pipe has no reader before the first byte is written.
    const ended = await shell(
      `{ sleep 0.1; "$0" ${words}; echo "code $?" >&2; } | true; exit "\${PIPESTATUS[1]}"`,
    )
    expect(ended).toEqual({ exitCode: 0, stdout: '', stderr: 'code 0\n' })
  })

  test('`--help | head -1` prints one line', async () => {
    const ended = await shell('"$0" --help | head -1')
    expect(ended).toEqual({
      exitCode: 0,
      stdout: expect.stringMatching(/^Usage: .*\n$/),
      stderr: '',
    })
  })

  test('on stderr too', async () => {
    const ended = await shell(
      '{ sleep 0.1; "$0" no-such-command; echo "code $?" >&3; } 3>&1 2>&1 >/dev/null | true',
    )
    expect(ended.stderr).toBe('')
  })
})

test('a slow reader gets all of it, also through a pipe that somebody made non-blocking', async () => {
  const whole = await shell('"$0" --help')
  const slow = await shell('"$0" --help | (sleep 0.2; cat)')
  expect(whole.stdout.length).toBeGreaterThan(5000)
  expect(slow.stdout).toBe(whole.stdout)
})

test.skipIf(!existsSync('/dev/full'))('a full disk is said, and is exit code 74', async () => {
  for (const words of COMMANDS) {
    expect(await shell(`"$0" ${words} >/dev/full`)).toEqual({
      exitCode: 74,
      stdout: '',
      stderr: 'postern: the output cannot be written: ENOSPC\n',
    })
  }
})
