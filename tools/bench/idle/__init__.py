"""`./sluice bench idle`: what a stack costs while no request comes."""
