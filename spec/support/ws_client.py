"""A WebSocket client for specs: stdin line by line out, messages in to stdout.

    ws_client.py URL [Header: value]...

Prints "open" first, or "refused STATUS" when nothing opened; then every message
as a line; then "closed CODE".
"""
import asyncio
import sys

import websockets


async def send_lines(ws):
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while True:
        line = await reader.readline()
        if not line:
            await ws.close()
            return
        await ws.send(line.decode().rstrip("\n"))


async def main():
    headers = [h.split(": ", 1) for h in sys.argv[2:]]
    try:
        ws = await websockets.connect(sys.argv[1], extra_headers=headers)
    except websockets.exceptions.InvalidStatusCode as e:
        print("refused", e.status_code, flush=True)
        return
    print("open", flush=True)
    sender = asyncio.ensure_future(send_lines(ws))
    try:
        async for message in ws:
            print(message, flush=True)
    except websockets.exceptions.ConnectionClosed:
        pass
    sender.cancel()
    print("closed", ws.close_code, flush=True)


asyncio.run(main())
