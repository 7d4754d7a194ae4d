"""What nulls are drawn from: random orders, signs and phases; autoregressive models of modes."""
