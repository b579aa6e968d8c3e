"""The domain: store, recipes, quota, judging, review, similarity, splits, import and export."""
