// Formats lines of cells in columns, for people. The widths are those of the first lines: later lines
// may be wider, and cost no memory.

export type Columns = (cells: readonly string[]) => string

export function columns(first: readonly (readonly string[])[]): Columns {
  const count = Math.max(0, ...first.map((cells) => cells.length))
  const widths = Array.from({ length: count }, (_, at) =>
    Math.max(...first.map((cells) => Bun.stringWidth(cells[at] ?? ''))),
  )
  return (cells) =>
    `${cells
      .map((cell, at) => cell + ' '.repeat(Math.max(0, (widths[at] ?? 0) - Bun.stringWidth(cell))))
      .join('  ')
      .trimEnd()}\n`
}

/** `2026-11-29 10:20`, in UTC. */
export function utcMinute(epochSeconds: number): string {
  return new Date(epochSeconds * 1000).toISOString().slice(0, 16).replace('T', ' ')
}
