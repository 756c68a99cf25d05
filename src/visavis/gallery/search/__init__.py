"""Who is near: searchers in memory and in Milvus, derived from the registry."""
