// The command line of `bun test/bench/bench.ts`.

import { parseArgs } from 'node:util'

export interface Options {
  /** Undefined: all of them. */
  readonly parts: readonly string[] | undefined
  readonly subjects: readonly string[] | undefined
  readonly rounds: number
  readonly seconds: number
  readonly seed: number
  /** Write the results and the README's table; the default where nothing was left out. */
  readonly save: boolean
  readonly list: boolean
  /** Of postern, on top of what the comparison gives it. */
  readonly settings: Readonly<Record<string, string>>
  /** Undefined: what this tree builds. */
  readonly binary: string | undefined
}

export const USAGE = `bun test/bench/bench.ts [flags]
  --only a,b       these parts alone (--list names them)
  --subjects a,b   these subjects alone: postern, nginx, haproxy, portkey, direct
  --rounds N       5, or BENCH_ROUNDS
  --seconds N      3: how long one measurement lasts
  --seed N         the order of subjects, again
  --save           write results although something was left out
  --no-save        write none
  --set A=b        a setting of postern's, to see what it costs; may be repeated
  --binary PATH    another postern, to compare with an earlier one
`

export function readOptions(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' },
      subjects: { type: 'string' },
      rounds: { type: 'string', default: env['BENCH_ROUNDS'] ?? '5' },
      seconds: { type: 'string', default: '3' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
      save: { type: 'boolean' },
      list: { type: 'boolean', default: false },
      set: { type: 'string', multiple: true, default: [] },
      binary: { type: 'string' },
    },
    allowNegative: true,
  })
  const names = (text: string | undefined): string[] | undefined => text?.split(',')
  const whole = (name: string, text: string): number => {
    if (!/^\d{1,10}$/.test(text)) throw new RangeError(`--${name} wants a number, not ${text}`)
    return Number(text)
  }
  const parts = names(values.only)
  const subjects = names(values.subjects)
  const usual = values.set.length === 0 && values.binary === undefined
  return {
    parts,
    subjects,
    rounds: Math.max(1, whole('rounds', values.rounds)),
    seconds: Math.max(1, whole('seconds', values.seconds)),
    seed: whole('seed', values.seed),
    save: values.save ?? (usual && parts === undefined && subjects === undefined),
    list: values.list,
    settings: Object.fromEntries(values.set.map(pairOf)),
    binary: values.binary,
  }
}

function pairOf(text: string): [name: string, value: string] {
  const at = text.indexOf('=')
  if (at < 1) throw new RangeError(`--set wants NAME=value, not ${text}`)
  return [text.slice(0, at), text.slice(at + 1)]
}
