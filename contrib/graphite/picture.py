#!/usr/bin/python3
"""Renders the graphs of a dashboard by graphite-web and puts them into one PNG file.

Needs cairocffi, which graphite-web needs, too. Exit status: 0 and a file, or 1 and a reason on standard error.
"""

import argparse
import io
import json
import sys
import urllib.parse
import urllib.request

import cairocffi


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graphite", help="where graphite-web is, such as http://127.0.0.1:8080")
    parser.add_argument("dashboard", help="one of the JSON files beside this script")
    parser.add_argument("picture", help="the PNG file to write")
    parser.add_argument("--replace", action="append", default=[], metavar="WORD=TEXT",
                        help="such as FRONTEND=www; may be given several times")
    parser.add_argument("--from", dest="since", default="-1hours", metavar="TIME", help="as Graphite writes times")
    parser.add_argument("--size", default="440x260", metavar="WIDTHxHEIGHT", help="of one graph, in pixels")
    parser.add_argument("--columns", type=int, default=3, help="graphs side by side")
    parser.add_argument("--graphs", type=int, default=1000, metavar="N", help="the first N graphs alone")
    return parser.parse_args()


def render(wanted, parameters):
    """One graph, as a surface to paint."""
    query = {**parameters, "from": wanted.since, "format": "png", "template": "plain"}
    address = wanted.graphite.rstrip("/") + "/render"
    form = urllib.parse.urlencode(query, doseq=True).encode()
    with urllib.request.urlopen(address, form, timeout=60) as answer:
        return cairocffi.ImageSurface.create_from_png(io.BytesIO(answer.read()))


def main():
    wanted = arguments()
    with open(wanted.dashboard, encoding="utf-8") as file:
        text = file.read()
    for replacement in wanted.replace:
        text = text.replace(*replacement.split("=", 1))
    dashboard = json.loads(text)
    graphs = [parameters for _, parameters, _ in dashboard["graphs"]][:wanted.graphs]
    width, height = (int(number) for number in wanted.size.split("x"))

    lines = -(-len(graphs) // wanted.columns)
    whole = cairocffi.ImageSurface(cairocffi.FORMAT_RGB24, wanted.columns * width, lines * height)
    context = cairocffi.Context(whole)
    context.set_source_rgb(1, 1, 1)
    context.paint()
    for place, parameters in enumerate(graphs):
        line, column = divmod(place, wanted.columns)
        graph = render(wanted, {**parameters, "width": width, "height": height})
        context.set_source_surface(graph, column * width, line * height)
        context.paint()
    whole.write_to_png(wanted.picture)


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, TypeError, KeyError, cairocffi.CairoError) as error:
        sys.exit(f"{sys.argv[0]}: {error}")
