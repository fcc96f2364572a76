// Builds the executable: `bun tools/build.ts` for this machine, `--release` for every target
// with SHA256SUMS. Not part of the binary. The same commit gives the same bytes anywhere: nothing of
// the clock, the folder or the environment goes in.

import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { HEADER_LIMIT_ARGUMENT } from '../src/gate/header-limit.ts'

const OPTIONS = {
  format: 'esm',
  bytecode: true,
  // What is imported on demand is left in the file until then: 2 MB of memory.
  splitting: true,
  sourcemap: 'none',
  // Not identifiers: Elysia reads the parameter names of handlers (oven-sh/bun#19345).
  minify: { syntax: true, whitespace: true, identifiers: false },
} as const

const TARGETS = {
  'linux-x64': 'bun-linux-x64',
  'linux-x64-musl': 'bun-linux-x64-musl',
  'linux-arm64': 'bun-linux-arm64',
  'linux-arm64-musl': 'bun-linux-arm64-musl',
  'darwin-x64': 'bun-darwin-x64',
  'darwin-arm64': 'bun-darwin-arm64',
  'windows-x64.exe': 'bun-windows-x64',
} as const satisfies Record<string, Bun.Build.CompileTarget>

/** Made aside and moved into its place: a program that runs cannot be written over. */
async function build(outfile: string, target?: Bun.Build.CompileTarget): Promise<void> {
  mkdirSync(dirname(outfile), { recursive: true })
  const folder = mkdtempSync(join(dirname(outfile), '.build-'))
  const aside = join(folder, basename(outfile))
  const result = await Bun.build({
    ...OPTIONS,
    entrypoints: ['src/main.ts'],
    define: {
      'process.env.NODE_ENV': '"production"',
      // pino has code that asks for its own folder, which would put this one into the bytes.
      __dirname: '"/"',
      POSTERN_COMMIT: JSON.stringify(await commit()),
    },
    compile: {
      outfile: aside,
      ...(target ? { target } : {}),
      // Whoever can write to the working directory must not be able to configure, or run, anything.
      autoloadDotenv: false,
      autoloadBunfig: false,
      execArgv: [HEADER_LIMIT_ARGUMENT],
    },
  })
  if (!result.success) throw new AggregateError(result.logs, `cannot build ${outfile}`)
  renameSync(aside, outfile)
  rmSync(folder, { recursive: true })
}

/** The commit, with `+` where the tree has changes on top of it. */
async function commit(): Promise<string> {
  const head = await Bun.$`git rev-parse --short=12 HEAD`.quiet().nothrow().text()
  const changes = await Bun.$`git status --porcelain`.quiet().nothrow().text()
  return head === '' ? 'unknown' : head.trim() + (changes === '' ? '' : '+')
}

async function release(): Promise<void> {
  const folder = 'dist/release'
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const sums: string[] = []
  for (const [suffix, target] of Object.entries(TARGETS)) {
    const name = `postern-${suffix}`
    await build(`${folder}/${name}`, target)
    const bytes = await Bun.file(`${folder}/${name}`).bytes()
    sums.push(`${new Bun.CryptoHasher('sha256').update(bytes).digest('hex')}  ${name}\n`)
    console.log(`${folder}/${name}`)
  }
  await Bun.write(`${folder}/SHA256SUMS`, sums.join(''))
}

if (Bun.argv.includes('--release')) await release()
else {
  const outfile = Bun.argv[2] ?? 'dist/postern'
  await build(outfile)
  console.log(outfile)
}
