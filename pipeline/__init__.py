"""The pure core: types, analyzer base, results, registry, graph, engine and media. Ray appears only in `stream`."""
