// Real proxies in front of a gate, each as its package sets it up but for the address it proxies to.
// Debian: apt-get install nginx-light haproxy.

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from './binary.ts'

export const PROXIES = ['nginx', 'haproxy'] as const
export type ProxyName = (typeof PROXIES)[number]

export interface Proxy {
  readonly port: number
  /** HAProxy's page of statistics. */
  readonly statsPort: number
  stop(): Promise<void>
}

const program = (name: ProxyName): string | null =>
  Bun.which(name) ?? Bun.which(name, { PATH: '/usr/sbin' })

/** With CI=true a missing program fails the tests that need it. */
export const isMissing = (name: ProxyName): boolean =>
  program(name) === null && process.env['CI'] !== 'true'

export async function startProxy(name: ProxyName, gatePort: number): Promise<Proxy> {
  const found = program(name)
  if (found === null) throw new Error(`${name} is not installed`)
  const folder = mkdtempSync(join(tmpdir(), `postern-${name}-`))
  chmodSync(folder, 0o755)
  const [port, statsPort] = [await freePort(), await freePort()]
  const file = join(folder, 'proxy.conf')
  writeFileSync(file, (name === 'nginx' ? nginx : haproxy)(port, gatePort, statsPort))
  const command =
    name === 'nginx'
      ? [found, '-p', folder, '-e', 'stderr', '-c', file]
      : [found, '-db', '-f', file]
  const child = Bun.spawn(command, { cwd: folder, stdout: 'ignore', stderr: 'ignore' })
  const isUp = await untilConnected(port, () => child.exitCode !== null)
  if (!isUp) throw new Error(`${name} exited ${child.exitCode}`)
  return {
    port,
    statsPort,
    async stop() {
      // Quietly, with its workers.
      child.kill('SIGTERM')
      await child.exited
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function nginx(port: number, gatePort: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `daemon off;
user root;
worker_processes 1;
pid nginx.pid;
events {}
http {
  access_log off;
  ${temporary.map((each) => `${each}_temp_path ${each};`).join('\n  ')}
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://127.0.0.1:${gatePort};
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }
    location = /v1/realtime {
      proxy_pass http://127.0.0.1:${gatePort};
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_read_timeout 1h;
      proxy_send_timeout 1h;
    }
  }
}
`
}

function haproxy(port: number, gatePort: number, statsPort: number): string {
  return `defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend clients
  bind 127.0.0.1:${port}
  default_backend gate
backend gate
  option httpchk GET /healthz
  option forwardfor
  server gate 127.0.0.1:${gatePort} check inter 50ms fall 1 rise 1
frontend stats
  bind 127.0.0.1:${statsPort}
  stats enable
  stats uri /
`
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' ? (address?.port ?? 0) : 0
}

async function untilConnected(port: number, isOver: () => boolean): Promise<boolean> {
  let connected = false
  const attempt = (): void => {
    const socket = net.connect({ port, host: '127.0.0.1' })
    socket.on('error', () => setTimeout(attempt, 10))
    socket.on('connect', () => {
      connected = true
      socket.destroy()
    })
  }
  attempt()
  return until(() => (connected ? 'up' : isOver() && 'over')).then((how) => how === 'up')
}
