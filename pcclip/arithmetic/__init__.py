"""Pictures from embedding arithmetic: "a dog" + "snowier", drawn by a generator and measured."""
