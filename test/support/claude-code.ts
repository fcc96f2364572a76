// Claude Code itself, run beside ours: CLAUDE_COMMAND names it, or PATH has it. Where neither does, its
// tests are skipped, and fail with CI=true.

export const claude = process.env['CLAUDE_COMMAND'] ?? Bun.which('claude') ?? undefined

export const isWithoutClaude = claude === undefined && process.env['CI'] !== 'true'
if (isWithoutClaude)
  console.warn('Claude Code is not tried: no CLAUDE_COMMAND, no `claude` on PATH')
