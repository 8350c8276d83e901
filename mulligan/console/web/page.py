"""The page that a browser loads: a terminal, and nothing from other sites."""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Mulligan</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/static/css/xterm.css">
<style>
@font-face {
  font-family: "Roboto Mono";
  src: url("/static/fonts/RobotoMono-VariableFont_wght.ttf");
  font-weight: 100 700;
}
html, body { margin: 0; height: 100%; background: #0d1219; overflow: hidden; }
#terminal { position: absolute; inset: 0; }
#told {
  position: absolute; inset: 0; display: flex; align-items: center; justify-content: center;
  font: 16px "Roboto Mono", monospace; color: #8a9bb0; background: #0d1219; z-index: 9;
}
body.-first-byte #told { display: none; }
body.-closed #told { display: flex; background: #0d1219e6; }
#told .ended, body.-closed #told .starting { display: none; }
body.-closed #told .ended { display: block; }
#told a { color: #5fb3f3; }
</style>
<script src="/console.js"></script>
<script src="/static/js/textual.js"></script>
</head>
<body>
<div id="told" role="status">
  <span class="starting">Starting the console…</span>
  <span class="ended">The console has ended. <a href="/">Start it again</a></span>
</div>
<div id="terminal" class="textual-terminal" data-font-size="15"></div>
</body>
</html>
"""

SCRIPT = """addEventListener("DOMContentLoaded", () => {
  const scheme = location.protocol === "https:" ? "wss://" : "ws://";
  const size = new URLSearchParams(location.search).get("fontsize");
  const terminal = document.getElementById("terminal");
  terminal.dataset.sessionWebsocketUrl = scheme + location.host + "/ws";
  if (/^[0-9]{1,2}$/.test(size || "")) terminal.dataset.fontSize = size;
  new MutationObserver((_, observer) => {
    if (!document.body.classList.contains("-first-byte")) return;
    observer.disconnect();
    terminal.querySelector("textarea")?.focus();
  }).observe(document.body, { attributes: true, attributeFilter: ["class"] });
});
"""
"""Tells the terminal where its line is before textual.js asks; gives it the keys once it draws."""
