// stdout, stderr, stdin and the current time, for the operator's commands.

import { stderr, stdout } from '../../print.ts'
import type { Output } from '../enroll.ts'
import type { LoginIo } from '../sign-in.ts'

export const output: Output = {
  stdout: (text) => stdout.write(text),
  stderr: (text) => stderr.write(text),
}

/** `stdin` is touched only by commands that read it. */
export const io: LoginIo = {
  stdout,
  stderr,
  get stdin() {
    return process.stdin
  },
}

/** Since the epoch. */
export const nowSeconds = (): number => Date.now() / 1000
